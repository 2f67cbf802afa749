"""Model servers: the process that is one, and the pool in which the web process knows them all."""
