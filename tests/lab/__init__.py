"""The lab: several real peers in network namespaces of their own, on one bridge, on this machine.

`network` makes and removes the namespaces, `processes` starts and ends what runs in them,
`peers` and `classic_hosts` are the two kinds of machines on that network, `rules` judges the
datagrams that crossed the bridge, `story` ties them together for the tests.  `classic/` holds
peers that speak the classic protocol only, as fragile as real ones.  Not for: anything that one
process can show; that is told faster beside the module it is about.
"""
