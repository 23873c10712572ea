mod agreement;
mod collector;
