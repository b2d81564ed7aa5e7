"""A learned task: layer mix and head, how they are fitted, judged and told. numpy and scipy only."""
