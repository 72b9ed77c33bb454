"""Files made wrong at random: whatever they hold, they are decoded or rejected."""
