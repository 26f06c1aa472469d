"""The doctor: why can't I see the others?  `peershare doctor` looks, and says what to do.

`judging` makes verdicts out of evidence and is pure; `probing` gathers the evidence; `examination`
puts the questions in order and `command` runs them.  Not for: mending anything.

What is sent, and why it harms nobody:

- UDP 5001, where classic peers listen, is only listened to.  What is no announcement kills them,
  and an announcement has an effect.
- Over TCP nobody is called but native peers that have proven to be such (by the word of our
  service, or by echoing a nonce of this run): a classic peer dies of a connection without a
  request.  What is said is `hello`, and then the end of the stream.
- To ourselves by unicast, and to each broadcast address on the port of the beacons, goes a goodbye
  of a peer that never was: native peers do nothing with it, and classic ones do not listen there.
- Only where no service of ours runs, native peers are asked by beacons who is there, as a service
  asks when it starts; a goodbye at the end makes them forget it.
- Everything leaves from the addresses in use, to broadcast addresses of their own networks.
"""
