module duramen.example/tests/drivers/go

go 1.24

require duramen.example/duramen v0.0.0

replace duramen.example/duramen => ../../../bindings/go
