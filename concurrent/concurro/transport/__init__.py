"""Links between processes, and the loop that drives them.

The only package that touches sockets and zmq. Everything above sees a `Link`: it sends
lists of frames, gets lists of frames, and is told once when it is closed.
"""
