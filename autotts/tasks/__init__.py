"""What is asked: problems, readers of answers, and graders."""
