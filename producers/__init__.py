"""What runs inside each worker. Imported as ``logbus.producers``; loads pyzmq and msgpack, nothing heavier."""
