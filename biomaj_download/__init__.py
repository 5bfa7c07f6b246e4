"""The download service of BioMAJ; imports nothing: `message.downmessage_pb2` stays cheap."""

__version__ = "4.0.0"
