"""The pictures of `report`: SVG, and a page of HTML around it."""
