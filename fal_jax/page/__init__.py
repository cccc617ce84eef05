"""The page that finds faces and draws landmarks, as static files for a browser."""
