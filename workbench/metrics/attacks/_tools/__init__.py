"""What several attacks share: who is attacked, how near rows lie, and how scores and rates are judged."""
