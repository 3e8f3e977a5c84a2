"""Rules of the kernel: describe them in English, find foreign ones, walk packets through them."""
