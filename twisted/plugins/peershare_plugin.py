from twisted.application.service import ServiceMaker

peershare = ServiceMaker(
    "peershare",
    "peershare.tap",
    "Peer-to-peer file sharing for one local network",
    "peershare",
)
