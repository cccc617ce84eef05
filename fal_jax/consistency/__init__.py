"""How much the landmarks of one face move where they should not: from view to view."""
