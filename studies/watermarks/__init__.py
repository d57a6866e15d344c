"""How often is a mark seen where there is none, and how often does one survive what sites do to pictures?"""
