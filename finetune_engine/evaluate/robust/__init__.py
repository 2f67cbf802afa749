"""How a robustness check is made up: the plan of questions, and one file for each way of reading the answers."""
