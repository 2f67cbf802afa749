"""What a word is, and how one is put in the place of another."""
