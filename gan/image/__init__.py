"""The image room: anybody's files in, the arrays that training reads, pictures out."""
