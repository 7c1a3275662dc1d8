"""The scripts of this folder are run by another interpreter, which has the clients; pytest does not import them."""

collect_ignore_glob = ["*_client.py", "running.py"]
