"""What is written from the models: CustomResourceDefinitions and the reference page."""
