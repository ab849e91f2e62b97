"""Kill importing workers again and again, with Graph and staging doing wrong, and count in the mailboxes afterwards."""
