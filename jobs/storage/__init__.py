"""What datasets are made of: pictures, databases of Caffe Datum, mean images, decoded arrays. Never imports torch."""
