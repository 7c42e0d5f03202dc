"""From a scan to a mask, a table, a page; from a network to a program."""
