"""What answers asks: the only room with networks, accelerators or weights."""
