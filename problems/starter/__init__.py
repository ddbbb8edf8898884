"""`starter`: small tasks on lists of numbers with generated unit tests, and a corpus of programs with the bugs people
write.
"""
