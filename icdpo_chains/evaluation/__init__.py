"""Does ICDPO help, on your own model and data (extra: `eval`)?

`accuracy` and `tuning` answer a user's questions: how often a score prefers the better answer, and which
settings suit the data. `rules` checks whether a model follows house rules that demonstrations show.
`comparison`, `judges` and `report` repeat the comparison of the paper (arXiv 2402.09320).
"""
