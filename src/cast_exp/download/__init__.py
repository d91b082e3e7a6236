"""Downloads: files of Hugging Face and archives at plain URLs, checked by size and digest."""
