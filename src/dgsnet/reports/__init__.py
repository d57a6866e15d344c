"""HTML pages a person reads: one file each, with nothing outside it. Pictures and charts are inside, there is no script, and a content
security policy keeps a browser from fetching anything even if something slipped past the escaping."""
