"""`dgsnet serve`: the detector behind a REST interface and a page. Needs the extra ``serve``."""
