"""The commands of `polyseme` that people ask at a terminal: tasks, score, inspect, completion."""
