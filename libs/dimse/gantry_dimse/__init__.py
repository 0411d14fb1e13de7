"""The DICOM upper layer and DIMSE on asyncio: acceptor and requestor, SCP and SCU (PS3.7, PS3.8)."""
