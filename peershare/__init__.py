"""peershare: peer-to-peer file sharing for one local network.

A map of the package, from the floor up (imports run one way, a test holds them to it):

- `errors`, `status`, `settings`, `links`, `throttle`, `content`: values and rules
- `wire`: what datagrams, requests and messages look like
- `dictionary`, `neighbours`, `holdings`: who is there and has what, as far as was told
- `ledger`, `state`, `library`: what is remembered, and the shared files
- `announcer`, `discovery`, `uploader`, `download`: the four parts, by the classic protocol
- `neighbourhood` (`beacons`, `hearing`, `catalogues`), `serving`, `download.swarm`: by our own
- `listening`, `overview`, `node`: one peer, put together
- `control`: the local HTTP API;  `tap`, `client`: the two ways to run it
- `doctor`: why others cannot be seen, and what to do
"""

__version__ = "0.1.0"
