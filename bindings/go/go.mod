module duramen.example/duramen

go 1.24
