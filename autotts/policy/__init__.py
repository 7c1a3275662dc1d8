"""What a study exports and a server obeys: allocation of a budget over arms, and the policy file."""
