"""What commands write: whole files, standard output, tables and pictures. Imports no torch."""
