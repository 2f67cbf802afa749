"""From a person's file to checked examples, and from checked examples to a frozen snapshot."""
