"""Embeds whatever recordings there are, in a stream: opened, cut, encoded and written in order,
with memory that does not depend on how many or how long they are."""
