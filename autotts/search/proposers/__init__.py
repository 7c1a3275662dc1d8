"""Who decides what a study tries next: one file each, all behind `Proposer.propose(archive, k)`."""
