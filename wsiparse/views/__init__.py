"""Views: pictures and pages for people."""
