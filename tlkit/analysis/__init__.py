"""What happens inside a network. Its modules are imported by name, such as `tlkit.analysis.gradcam`."""
