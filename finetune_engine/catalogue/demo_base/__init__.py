"""demo-base: a language model small enough to fine-tune on a laptop in two minutes, and the program that makes it."""
