"""Who decides what a study tries next: one file each, all behind `Proposer.propose(archive, k)`."""

from autotts.search.proposers.guided import Guided
PROPOSERS={"guided":Guided}
