"""From a data set as it is downloaded to what training reads: resized pictures, masks, matches."""
