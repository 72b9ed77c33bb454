"""What is typed: the commands, by what they are about, and what they print ahead of doing it."""
