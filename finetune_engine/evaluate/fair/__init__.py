"""How fairness is looked at: groups in the data, and questions in which only a name, a pronoun or a place is another."""
