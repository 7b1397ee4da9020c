"""What people look at: plain data in; HTML, text or a figure out.  No view knows torch."""
