"""Pictures: contact sheets of faces, curves, errors by landmark."""
