"""`polyseme embed`: a corpus into files of vectors, in one process or on a Ray cluster.

A plan cuts the inputs into shards of neighbouring rows (plan.py); each becomes one file, whole or not there
at all (shard_file.py), so that a command that was killed goes on where it stopped. The same encoder, which is
the service's engine without its queue (encoder.py), runs them one after another (local_engine.py) or as tasks
of Ray (ray_engine.py).
"""
