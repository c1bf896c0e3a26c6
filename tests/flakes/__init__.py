"""Chosen stories again and again beside a load on the CPUs: which of them fail now and then?"""
