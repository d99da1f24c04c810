"""House rules that demonstrations alone show, each with a deterministic check: does ICDPO follow them?"""
